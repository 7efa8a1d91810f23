"""Converts the models of torch_nn_models.py (see model_tests.py)."""

import unittest

from model_tests import test_class
from torch_nn_models import MODELS

Models = test_class(MODELS)

if __name__ == "__main__":
    unittest.main()
