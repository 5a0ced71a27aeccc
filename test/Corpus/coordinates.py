"""Points in space: the score falls with the squared distance."""
#! --shape B=2,Hq=2,M=70,N=70,D=32 --score-mod 'spatial(points)' --capture points=random:2x70x3:f32

def spatial(points):
    def score_mod(score, b, h, q_idx, kv_idx):
        p, q = points[b, q_idx], points[b, kv_idx]
        square = 0.0
        for axis in range(3):
            square += (p[axis] - q[axis]) ** 2
        return score - square

    return score_mod
