"""Fixtures of the tests that prepare the tiny TIMIT.

A module takes them by `pytest_plugins = "timit_fixtures"`.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import pytest
from helpers import recipe_modules
from tiny_timit import write_sample, write_timit

from speechbrain_cwrnn.errors import InputError


@pytest.fixture
def prepare():
    """The modules that write manifests, as the recipe of words sees them."""
    names = ("timit_prepare", "words_prepare")
    with recipe_modules("TIMIT/WordClassification", *names) as modules:
        yield modules


@pytest.fixture(scope="module")
def timit(tmp_path_factory):
    """A copy of TIMIT for all tests, which change it with `damage` only."""
    return write_timit(tmp_path_factory.mktemp("shared") / "TIMIT")


@pytest.fixture(scope="module")
def timit_sample(tmp_path_factory):
    """NLTK's sample, for all tests, which do not change it."""
    return write_sample(tmp_path_factory.mktemp("corpora"))


@pytest.fixture
def damage():
    """Replaces files, or removes them, until the end of the test."""
    originals = {}

    def change(path, content=None):
        originals.setdefault(path, path.read_bytes())
        path.unlink() if content is None else path.write_bytes(content)

    yield change
    for path, content in originals.items():
        path.unlink(missing_ok=True)
        path.write_bytes(content)


@pytest.fixture
def linked(timit, tmp_path):
    """A copy of TIMIT by links, whose folders may be moved."""
    for place in timit.glob("*/*/*"):
        link = tmp_path / "TIMIT" / place.relative_to(timit)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(place)
    return tmp_path / "TIMIT"


@pytest.fixture
def out(tmp_path):
    """A folder for manifests, which is not there yet."""
    return tmp_path / "new" / "save"


@pytest.fixture
def sentences(prepare, out):
    """Calls `prepare_timit`."""

    def call(data_folder, **options):
        manifests = [out / f"{n}.json" for n in ("train", "valid", "test")]
        prepare_timit = prepare.timit_prepare.prepare_timit
        return prepare_timit(data_folder, *manifests, **options)

    call.other = {"phn_set": 60}
    return call


@pytest.fixture
def words(prepare, out):
    """Calls `prepare_words`."""

    def call(data_folder, words=("making", "subway"), **options):
        if isinstance(words, tuple):
            words = list(words)
        manifests = [out / f"{n}.json" for n in ("train", "test")]
        prepare_words = prepare.words_prepare.prepare_words
        return prepare_words(data_folder, *manifests, words, **options)

    call.other = {"seed": 3}
    return call


@pytest.fixture(params=["sentences", "words"])
def either(request):
    """Calls the one, or the other; `other` are options not its defaults."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def refused(out):
    """Checks that something is refused, and leaves nothing behind."""

    def check(message, function, *args, **options):
        with pytest.raises(ValueError, match=message) as info:
            function(*args, **options)
        assert type(info.value) is InputError
        assert "\n" not in str(info.value)
        assert not out.parent.exists()

    return check
