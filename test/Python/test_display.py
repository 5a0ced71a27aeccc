"""What notebooks show, what progress tells, and what help() says."""

import importlib
import inspect
import pkgutil
import re
import xml.dom.minidom

import numpy as np
import pytest

import attnjit
from attnjit import _display
from attnjit.nn.attention.flex_attention import create_block_mask


@pytest.fixture
def q():
    return np.random.default_rng(0).standard_normal((1, 2, 64, 32)).astype(np.float32)


def pictures(text):
    """The SVGs of a page, parsed."""
    return [xml.dom.minidom.parseString(svg) for svg in re.findall(r"<svg xmlns.*?</svg>", text, re.DOTALL)]


def cells(picture):
    """Which cell of a picture has which colour."""
    return {(int(box.getAttribute("y")), x): box.getAttribute("fill") for box in picture.getElementsByTagName("rect")
            for x in range(int(box.getAttribute("x")), int(box.getAttribute("x")) + int(box.getAttribute("width")))}


def test_a_block_mask_is_drawn_cell_by_cell():
    mask = create_block_mask("(q_idx >= kv_idx) & (q_idx - kv_idx < 300)", None, None, 1024, 1024)
    html = mask._repr_html_()
    (picture,) = pictures(html)
    dense = np.asarray(mask.to_dense())[0, 0]
    assert set(cells(picture)) == {tuple(place) for place in np.argwhere(dense)}
    assert f"{mask.sparsity():.2f} %" in html and "1024 × 1024" in html and "q_idx &gt;= kv_idx" in html


def test_large_block_masks_have_small_pictures():
    mask = create_block_mask("q_idx >= kv_idx", 3, 4, 1 << 17, 1 << 17)
    html = mask._repr_html_()
    drawn = pictures(html)
    assert len(drawn) == _display.PICTURES and "8 more" in html and len(html) < 100_000
    rows = {y for y, _ in cells(drawn[0])}
    assert len(rows) <= _display.CELLS
    colours = cells(drawn[0])
    assert colours[max(rows), 0] == _display._FULL and colours[0, 0] == _display._SOME and (0, max(rows)) not in colours


def test_reports_and_kernels(q):
    report = attnjit.explain(q, q, q)
    html = report._repr_html_()
    assert html.count("<b>chosen</b>") == 1 and "not built in this version" in html
    assert report.chosen in repr(report) and report.chosen in str(report)
    kernel = attnjit.prepare(q, q, q, score_mod="score * 2.0")
    assert kernel.pipeline in repr(kernel) and "%score" in kernel._repr_html_()


def test_stages(q):
    shown = attnjit.stages(q, q, q, score_mod="score * 2.0")
    assert list(shown)[0] == "attn" and list(shown)[-1] == "asm"
    html = shown._repr_html_()
    assert html.count("<details>") == len(shown) and "attn.forward" not in repr(shown)
    assert list(attnjit.stages(q, q, q, stop_after="tile")) == ["attn", "tile"]


def test_autotune_tells_how_far_it_is(q):
    told = []
    found = attnjit.autotune(q, q, q, seconds=0.3, progress=lambda *news: told.append(news))
    assert found["best"] in [tiles for tiles, _ in found["timings"]]
    done = [news[1] for news in told]
    assert told[0] == ("autotune", 0, 30) and told[-1] == ("autotune", 30, 30) and done == sorted(done) and len(done) > 2


def test_warm_up_counts_kernels(q, tmp_path):
    first, path, told = attnjit.Engine(cache_directory=""), str(tmp_path / "kernels"), []
    before = attnjit.engine()
    attnjit.set_engine(first)
    try:
        for number in (1, 2, 3):
            attnjit.attention(q, q, q, score_mod=f"score * {number}.5 + torch.tanh(score)" + " + 1.0" * number)
    finally:
        attnjit.set_engine(before)
    first.save_manifest(path)
    second = attnjit.Engine(cache_directory="")
    assert attnjit.warm_up(path, engine=second, progress=lambda *news: told.append(news))["compiled"] == 3
    assert told[0] == ("warm-up", 0, 3) and told[-1] == ("warm-up", 3, 3)


def test_work_that_fails_raises_here(q, tmp_path):
    told = []
    (tmp_path / "none").write_text("kernel 12\n")
    with pytest.raises(OSError, match="manifest"):
        attnjit.warm_up(str(tmp_path / "none"), progress=lambda *news: told.append(news))
    assert told == [("warm-up", 0, 1)]
    with pytest.raises(ValueError):
        attnjit.autotune(q, q, q, seconds=-1)


def public_names():
    """(name, object) of every public module and of everything in its __all__, members of classes included."""
    found = {"attnjit": attnjit}
    for info in pkgutil.walk_packages(attnjit.__path__, "attnjit."):
        if any(part.startswith("_") for part in info.name.split(".")):
            continue
        try:
            module = importlib.import_module(info.name)
        except ImportError as error:
            if error.name in ("torch", "transformers"):
                continue
            raise
        found[info.name] = module
    for module in list(found.values()):
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            found[f"{module.__name__}.{name}"] = thing
            if inspect.isclass(thing):
                for member, value in vars(thing).items():
                    if not member.startswith("_") and (callable(value) or isinstance(value, (property, classmethod, staticmethod))):
                        found[f"{module.__name__}.{name}.{member}"] = value
    return found


def test_help_is_complete():
    """Everything that people can name says what it is."""
    def is_plain(thing):  # constants, and fields of tuples
        return isinstance(thing, (int, str, bool, float, dict)) or type(thing).__name__ in ("_tuplegetter", "nb_method") and not thing.__doc__

    names = public_names()
    assert len(names) > 60
    missing = [name for name, thing in names.items() if not is_plain(thing) and not (inspect.getdoc(thing) or "").strip()]
    assert not missing, f"without a docstring: {missing}"


@pytest.mark.parametrize("name", ["attention", "explain", "prepare", "autotune"])
def test_help_tells_shapes(name):
    doc = inspect.getdoc(getattr(attnjit, name))
    assert re.search(r"\[B, Hq, M, D\]|attention\(\)", doc), f"attnjit.{name} does not say which shapes it takes"
