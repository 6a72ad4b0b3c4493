"""The machine's pip settings reach the build as secrets, and only what is set."""

from pathlib import Path

from image_builder.pip_settings import settings, write_secrets


def test_variables_win_over_files(tmp_path: Path) -> None:
    conf = tmp_path / "pip.conf"
    conf.write_text("[global]\nindex-url = https://file/simple\ntimeout = 7\n")
    found = settings({"PIP_INDEX_URL": "https://variable/simple"}, [conf])
    assert found == {"index-url": "https://variable/simple", "timeout": "7"}


def test_a_machine_without_settings_passes_none(tmp_path: Path) -> None:
    assert write_secrets(tmp_path, settings({}, [])) == {}


def test_what_only_matters_outside_stays_outside() -> None:
    assert settings({"PIP_FIND_LINKS": "/srv/wheels", "PIP_TARGET": "/x"}, []) == {}


def test_the_certificates_are_named_by_their_path_inside(tmp_path: Path) -> None:
    bundle = tmp_path / "company.crt"
    bundle.write_text("certificate")
    secrets = write_secrets(tmp_path, settings({"REQUESTS_CA_BUNDLE": str(bundle)}, []))
    assert secrets["ca.crt"] == bundle
    assert secrets["pip.conf"].read_text() == "[global]\ncert = /run/secrets/ca.crt\n"


def test_credentials_in_an_index_url_are_readable_by_the_owner_alone(tmp_path: Path) -> None:
    secrets = write_secrets(tmp_path, {"index-url": "https://me:secret@host/simple"})
    assert secrets["pip.conf"].stat().st_mode & 0o777 == 0o600
