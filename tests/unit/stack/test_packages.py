from pathlib import Path

import pytest

from stack import apt, packages, transplant
from stack.errors import BrokerNotFound

_SIMULATION = """\
Reading package lists...
Inst libc6 (2.41 Debian:13 [amd64])
Inst libpython3.13-stdlib (3.13 Debian:13 [amd64])
Inst libssl3t64 (3.5 Debian:13 [amd64])
Inst zlib1g (1.3 Debian:13 [amd64])
Inst perl-base (5.40 Debian:13 [amd64])
Inst libperl5.40 (5.40 Debian:13 [amd64])
Inst erlang-base (1:27 Debian:13 [amd64])
Inst rabbitmq-server (4.0.5 Debian:13 [all])
Conf erlang-base (1:27 Debian:13 [amd64])
""".splitlines()


def test_from_the_machines_own_suite_only_rabbitmq_and_erlang_are_taken() -> None:
    assert packages.select(_SIMULATION, libraries=False) == ["erlang-base", "rabbitmq-server"]


def test_from_another_suite_its_libraries_are_taken_too_but_no_interpreters() -> None:
    assert packages.select(_SIMULATION, libraries=True) == [
        "libc6",
        "libssl3t64",
        "zlib1g",
        "erlang-base",
        "rabbitmq-server",
    ]


@pytest.mark.parametrize(
    ("targets", "mirror"),
    [
        ([], None),
        (["https://example.org/node nodistro main"], None),
        (["http://a.example/debian-security/ x-security main"], None),
        (["http://a.example/debian/ x contrib", "http://b.example/debian/ x main"], "b"),
        (["http://a.example/debian/ x main", "http://b.example/debian/ x main"], "a"),
    ],
)
def test_another_suite_comes_from_the_machines_first_main_debian_mirror(
    targets: list[str], mirror: str | None
) -> None:
    expected = mirror and f"http://{mirror}.example/debian/"

    assert apt.debian_mirror(targets) == expected


def test_apt_keeps_all_its_state_in_our_folder_and_runs_no_hook_of_the_system() -> None:
    text = apt.configuration(Path("/a b/apt"), sources=None)

    folders = [line for line in text.splitlines() if line.startswith("Dir::")]
    assert folders
    assert all(' "/a b/apt/' in line for line in folders)
    assert "#clear APT::Update::Post-Invoke;" in text
    assert "sourcelist" not in text


def test_without_apt_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BrokerNotFound, match="install RabbitMQ"):
        packages.unpack(tmp_path / "cache")


def test_what_was_unpacked_for_another_place_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "cache/rabbitmq-distribution"
    root.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path))

    (root / "complete").write_text(str(root), encoding="utf-8")
    assert packages.unpack(tmp_path / "cache") == root

    (root / "complete").write_text("/elsewhere", encoding="utf-8")
    with pytest.raises(BrokerNotFound):
        packages.unpack(tmp_path / "cache")


def test_erlangs_start_script_points_at_its_new_home(tmp_path: Path) -> None:
    script = tmp_path / "fresh/usr/lib/erlang/bin/erl"
    script.parent.mkdir(parents=True)
    script.write_text('#!/bin/sh\nROOTDIR=/usr/lib/erlang\nexec "$ROOTDIR/x"\n', "utf-8")

    transplant.mend_launchers(tmp_path / "fresh", Path("/new home/unpacked"), libraries=False)

    assert "ROOTDIR='/new home/unpacked/usr/lib/erlang'\n" in script.read_text("utf-8")


def test_a_foreign_program_is_called_through_its_own_loader(tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    library = fresh / "usr/lib/x86_64-linux-gnu"
    programs = fresh / "usr/lib/erlang/erts-1/bin"
    library.mkdir(parents=True)
    programs.mkdir(parents=True)
    (library / "ld-linux-x86-64.so.2").touch()
    (programs / "beam").write_bytes(b"\x7fELF and code")
    (programs / "script").write_text("#!/bin/sh\n", "utf-8")
    for program in programs.iterdir():
        program.chmod(0o755)

    transplant.wrap_programs(fresh, Path("/unpacked"))

    wrapper = (programs / "beam").read_text("utf-8")
    assert "/unpacked/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 --library-path" in wrapper
    assert wrapper.endswith('--argv0 "$0" /unpacked/usr/lib/erlang/erts-1/bin/beam.real "$@"\n')
    assert (programs / "beam.real").read_bytes() == b"\x7fELF and code"
    assert (programs / "script").read_text("utf-8") == "#!/bin/sh\n"
