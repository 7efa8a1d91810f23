"""Converts the models of decoder_models.py (see model_tests.py)."""

import unittest

from model_tests import test_class
from decoder_models import MODELS

Models = test_class(MODELS)

if __name__ == "__main__":
    unittest.main()
