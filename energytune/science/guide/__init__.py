"""The user guide as rules: an energy map in, phenomenon -> hypothesis -> what to try out.

.. [Ren2023] Y. Ren, S. Guo, W. Bae, D. J. Sutherland. How to prepare your task head for
   finetuning. ICLR 2023.
"""

from energytune.science.guide.curve import HeadCurve
from energytune.science.guide.finding import Confidence, Finding, GuideContext
from energytune.science.guide.registry import RULES, diagnose

__all__ = ["RULES", "Confidence", "Finding", "GuideContext", "HeadCurve", "diagnose"]
