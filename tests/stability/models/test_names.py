"""Names of models: each model has one, both ways, and what is no name says what is near."""

from itertools import product
from typing import Any

import pytest
import torch
from nets import NANO, fresh

from stability.models import (
    FAMILIES,
    STEMS,
    VARIANTS,
    ModelNameError,
    ViTConfig,
    config_of,
    family_of,
)
from stability.models.names import accepts_size, is_vit_name, resolve_model
from stability.models.variants import counted_on, model_source


def test_a_family_is_resolved_by_size_and_a_full_name_is_itself() -> None:
    assert resolve_model("vitp", size="nano") == "vitp-nano"
    assert resolve_model("vitc-nano", size="other") == "vitc-nano"
    for name in VARIANTS:
        assert resolve_model(name, size="other") == name
        assert config_of(name) is VARIANTS[name]


@pytest.mark.parametrize("size", ["nano", "micro", "4gf"])
def test_every_family_has_a_model_for_each_size_of_data(size: str) -> None:
    for kind in FAMILIES:
        expected = "resnet-50" if (kind, size) == ("resnet", "4gf") else f"{kind}-{size}"
        assert resolve_model(kind, size) == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("vitc-4gf+conv", "vitc-4gf"),
        ("vitp-4gf+patchify", "vitp-4gf"),
        ("vitp-4gf+d12", "vitp-4gf"),
        ("vitp-4gf+conv", "vitp-4gf+conv"),  # a stem never changes the depth
        ("vitp-4gf+conv+d11", "vitc-4gf"),
        ("vitc-4gf+d12", "vitp-4gf+conv"),
        ("vitc-4gf+patchify", "vitp-4gf+d11"),
        ("vitc-4gf+s2", "vitc-4gf+s2"),
        ("vitp-4gf+d11+s2", "vitc-4gf+s2"),
        ("vitp-4gf+gap+d13+s1", "vitp-4gf+s1+d13+gap"),
        ("vitc-4gf+d47", "vitc-4gf+d47"),  # C-16GF of Figure 8
        ("vitp+hmlp", "vitp-nano+hmlp"),
        ("regnety-4gf", "regnety-4gf"),
    ],
)
def test_a_model_is_written_in_one_way(text: str, name: str) -> None:
    assert resolve_model(text, "nano") == name
    assert config_of(name) == config_of(text.replace("vitp+", "vitp-nano+"))


def test_names_and_configurations_are_in_bijection() -> None:
    """Over every stem, five depths and both kinds of pooling, of both kinds of ViT."""
    names: dict[str, ViTConfig] = {}
    for kind, stem, depth, pool in product(
        ("vitp", "vitc"), STEMS, (1, 10, 11, 12, 47), ("", "+gap")
    ):
        text = f"{kind}-4gf+{stem}+d{depth}{pool}"
        config, name = config_of(text), resolve_model(text, "nano")
        assert config_of(name) == config
        assert resolve_model(name, "nano") == name
        assert names.setdefault(name, config) == config  # type: ignore[arg-type]
        assert name.count("+") <= text.count("+")
    assert len(set(names.values())) == len(names) == len(STEMS) * 5 * 2


def test_a_choice_alters_its_field_alone() -> None:
    plain = VARIANTS["vitp-4gf"]
    for choice, field in {"conv": "stem", "s1": "stem", "d13": "depth", "gap": "pool"}.items():
        config = config_of(f"vitp-4gf+{choice}")
        assert {f for f in vars(plain) if getattr(plain, f) != getattr(config, f)} == {field}


@pytest.mark.parametrize("name", ["vit", "vitc-", "", "VITC", "vitc-huge", "vitc nano", "+conv"])
def test_an_unknown_name_is_a_key_error_with_the_name(name: str) -> None:
    with pytest.raises(KeyError) as error:
        resolve_model(name, size="nano")
    assert error.value.args == (name,)
    with pytest.raises(KeyError):
        fresh(name)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("vitp-micro+s3", "the stem s3 needs patches of at least 8 pixels, vitp-micro has 4"),
        ("vitp-nano+s4", "the stem s4 needs patches of at least 16 pixels, vitp-nano has 8"),
        ("vitp-4gf+s1+s2", "'vitp-4gf+s1+s2' names its stem twice"),
        ("vitp-4gf+d5+d5", "'vitp-4gf+d5+d5' names its depth twice"),
        ("resnet-50+gap", "stem, depth and pooling are choices of ViTs; resnet-50 is none"),
    ],
)
def test_what_does_not_go_together_says_why(name: str, fault: str) -> None:
    with pytest.raises(ModelNameError) as error:
        resolve_model(name, size="nano")
    assert error.value.fault == fault


@pytest.mark.parametrize("choice", ["convx", "d0", "d01", "d1000", "d-1", "d", "", "GAP", "token"])
def test_an_unknown_choice_comes_with_those_that_are_allowed(choice: str) -> None:
    with pytest.raises(ModelNameError) as error:
        resolve_model(f"vitp-4gf+{choice}", size="nano")
    assert (error.value.fault, error.value.got) == ("", choice)
    assert set(STEMS) < set(error.value.allowed)


def test_what_is_known_of_each_name() -> None:
    for name, config in VARIANTS.items():
        vit = isinstance(config, ViTConfig)
        assert family_of(name) == ("vit" if vit else "regnety")
        assert is_vit_name(name) == is_vit_name(name.split("-")[0]) == vit
        assert model_source(name)
        assert accepts_size(name, 32) == (not vit or config.image == 32)
        assert accepts_size(name, 224) == (not vit or config.image == 224)
        assert not accepts_size(name, 16)
    assert counted_on("vitp-micro+gap") == (3, 10)


def underlying(function: Any) -> Any:
    """The function of a partial one."""
    return getattr(function, "func", function)


def test_each_stem_is_one_function_in_one_place() -> None:
    from stability.models.stems import BUILD

    assert list(BUILD) == list(STEMS)
    assert all(function.__doc__ for function in map(underlying, BUILD.values()))


@pytest.mark.parametrize("name", NANO)
def test_a_name_and_its_configuration_build_the_same(name: str) -> None:
    ours, theirs = fresh(name).state_dict(), fresh(config_of(name)).state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
