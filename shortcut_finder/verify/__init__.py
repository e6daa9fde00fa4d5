"""Verify: experiments on the pixels, and the verdicts that they lead to."""
