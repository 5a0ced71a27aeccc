"""Softcap, as in Gemma 2."""
#! --shape Hq=2,M=100,N=130,D=32 --score-mod 'generate_tanh_softcap({2.5|50.0})'
#! --shape Hq=2,M=100,N=130,D=32 --score-mod 'generate_tanh_softcap(20)' --values large

def generate_tanh_softcap(soft_cap: float):
    def tanh_softcap(score, b, h, q_idx, kv_idx):
        return soft_cap * torch.tanh(score / soft_cap)

    prefix = "tanh_softcap_approx" if False else "tanh_softcap"
    tanh_softcap.__name__ = f"{prefix}_{soft_cap}"
    return tanh_softcap
