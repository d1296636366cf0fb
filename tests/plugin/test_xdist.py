"""Many workers, and many runs, on one host."""

from __future__ import annotations

import time

import pytest

COUNT = """
    import pytest

    @pytest.mark.parametrize("number", range({tests}))
    def test_it(bottle, number, worker_id):
        with open("names", "a") as file:
            file.write(f"{{bottle.name}} {{worker_id}}\\n")
"""


def used(pytester: pytest.Pytester) -> tuple[list[str], set[str]]:
    """Return the names of the bottles that were used, and the workers that did it."""
    pairs = [line.split() for line in (pytester.path / "names").read_text().splitlines()]
    return [name for name, _ in pairs], {worker for _, worker in pairs}


def test_names_are_unique(pytester, run):
    """Over all workers, and they say whose bottle it is."""
    pytester.makepyfile(COUNT.format(tests=24))
    run("-n8").assert_outcomes(passed=24)
    names, workers = used(pytester)
    assert len(set(names)) == 24
    assert len(workers) > 1
    assert {name.split("-")[2] for name in names} == workers
    assert len({name.split("-")[1] for name in names}) == 1


@pytest.mark.parametrize("scope", ["session", "run"])
def test_wide_scopes_count_workers_once_or_not_at_all(pytester, run, scope):
    """`session` is one bottle for each worker, `run` is one for all of them."""
    pytester.makepyfile(COUNT.format(tests=16))
    run("-n4", f"--bottle-scope={scope}").assert_outcomes(passed=16)
    names, workers = used(pytester)
    assert len(set(names)) == (len(workers) if scope == "session" else 1)
    assert len(workers) > 1


def test_run_scoped_bottle_is_really_shared(pytester, run):
    """What one worker writes, the others read; and it lives until the last of them has ended."""
    pytester.makepyfile(
        """
        import time
        import pytest

        @pytest.mark.bottle(scope="run")
        @pytest.mark.parametrize("number", range(4))
        def test_it(bottle, number):
            bottle.write_file(f"mark-{number}", "")
            deadline = time.monotonic() + 20
            while len(bottle.listdir()) < 4:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        """
    )
    run("-n4").assert_outcomes(passed=4)


def test_slots_bound_bottles_over_workers(pytester, run):
    """Never more at once than there are slots; who waits is told."""
    pytester.makepyfile(
        """
        import os
        import time
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_it(bottle, number):
            open(f"open-{number}", "w").close()
            time.sleep(1.2)
            assert len([name for name in os.listdir() if name.startswith("open-")]) <= 2
            os.remove(f"open-{number}")
        """
    )
    result = run("-n4", "--bottle-slots=2")
    result.assert_outcomes(passed=4)
    text = result.stdout.str() + result.stderr.str()
    assert "waiting for a slot for" in text
    assert "place 1 in the line, 2 held" in text


def test_slots_bound_bottles_over_runs(pytester, start):
    """Two runs that know nothing of each other share the host."""
    pytester.makepyfile(
        """
        import os
        import time

        def test_it(bottle):
            os.mkdir("only-one")
            time.sleep(1.5)
            os.rmdir("only-one")
        """
    )
    runs = [start("--bottle-slots=1"), start("--bottle-slots=1")]
    outputs = [process.communicate(timeout=30)[0] for process in runs]
    assert [process.returncode for process in runs] == [0, 0], outputs
    assert sum("[bottle main] waiting for a slot for" in output for output in outputs) == 1


def test_image_is_prepared_once_for_all_workers(pytester, run, fake_backend):
    """The others wait, and use what was made."""
    fake_backend(
        more="""
    def prepare(self, plan, report):
        import time

        time.sleep(0.3)
        with open("prepared", "a") as file:
            file.write(f"{plan.worker}\\n")

    Fake.prepare = prepare
"""
    )
    pytester.makepyfile(COUNT.format(tests=8))
    run("-n4", "--bottle-backend=fake").assert_outcomes(passed=8)
    assert len((pytester.path / "prepared").read_text().splitlines()) == 1
    assert len(used(pytester)[1]) > 1


def test_image_that_cannot_be_had_is_asked_for_once(pytester, run, fake_backend):
    """Its registry takes its time to say no; every test is told at once, in its words."""
    fake_backend(
        more="""
    def prepare(self, plan, report):
        from pytest_bottle.errors import ImageError

        with open("prepared", "a") as file:
            file.write("x")
        raise ImageError("none", reason="the registry said no.", remedy="Ask another.")

    Fake.prepare = prepare
"""
    )
    pytester.makepyfile(COUNT.format(tests=6))
    result = run("-n2", "--bottle-backend=fake")
    result.assert_outcomes(errors=6)
    words = "ImageError: image 'none': the registry said no. Ask another."
    assert result.stdout.str().count(f"{words}\n") >= 6
    assert (pytester.path / "prepared").read_text() == "x"


def test_worker_that_dies_is_replaced_and_leaves_nothing(pytester, run):
    """Xdist starts another; the watchdog removes what the dead one had."""
    pytester.makepyfile(
        """
        import os

        def test_dies(bottle): os._exit(9)

        def test_lives(bottle): pass
        """
    )
    began = time.monotonic()
    result = run("-n2")
    result.assert_outcomes(passed=1, failed=1)
    assert time.monotonic() - began < 30


def test_run_is_over_when_pytest_returns(pytester, run, state):
    """Whoever looks a moment later finds nothing of it, also where only workers had bottles."""
    pytester.makepyfile(COUNT.format(tests=4))
    run("-n2").assert_outcomes(passed=4)
    time.sleep(0.5)
    assert not state.remains()
