from __future__ import annotations

import pytest

from energytune.models import Backbone, create_backbone


@pytest.fixture
def mlp() -> Backbone:
    return create_backbone("digits-mlp", weights="none", seed=3)
