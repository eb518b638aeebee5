r"""Asks people whether images are real or generated: a small web application with its results.

python -m launch.survey --real=sample_crops --generated=best=crops64_cascade,worst=crops64 --out=runs/survey
python -m launch.survey --real='real.npz[0:500]' --generated=a.npz,b.npz --images_each=40 --port=8080 \
    --out=runs/survey

It listens on this machine alone, unless --host says otherwise. Answers are in OUT/survey.sqlite; /admin shows
the results to whoever has the token in OUT/admin_token.txt. docs/guides/survey.md tells more.
"""
from lartpc_jax import cli

cli.define_flags("survey")

if __name__ == "__main__":
  cli.launch("survey")
