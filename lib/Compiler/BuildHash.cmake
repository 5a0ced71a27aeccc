# cmake -DOUT=file -DFILES=list-file -P BuildHash.cmake: one hash over the contents of all files named in the list, so that images of a compiler that was changed in
# any way are not taken for images of this one.
file(STRINGS ${FILES} PATHS)
set(ALL "")
foreach(PATH ${PATHS})
  file(SHA256 ${PATH} HASH)
  string(APPEND ALL ${HASH})
endforeach()
string(SHA256 HASH "${ALL}")
string(SUBSTRING ${HASH} 0 16 HASH)
file(WRITE ${OUT} "#define ATTNJIT_BUILD_HASH \"${HASH}\"\n")
