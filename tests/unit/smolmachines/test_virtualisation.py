"""What a host is seen to lack before a guest is booted on it."""

from __future__ import annotations

import os
import platform

import pytest

from pytest_bottle.backends.smolmachines import virtualisation

FLAGS = "flags\t\t: fpu vme {} sse2\n"


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host whose device and processor are files here."""
    device, cpuinfo = tmp_path / "kvm", tmp_path / "cpuinfo"
    device.touch(0o660)
    cpuinfo.write_text(FLAGS.format("svm"))
    monkeypatch.setattr(virtualisation, "_KVM", device)
    monkeypatch.setattr(virtualisation, "_CPUINFO", cpuinfo)
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    return tmp_path


@pytest.mark.usefixtures("host")
def test_a_host_that_can():
    assert virtualisation.probe_virtualisation().ok


def test_no_device(host):
    (host / "kvm").unlink()
    answer = virtualisation.probe_virtualisation()
    assert not answer.ok
    assert "nested" in answer.fix


def test_a_processor_that_boots_no_guest(host):
    """Although the device opens, as on a PVM host."""
    (host / "cpuinfo").write_text(FLAGS.format("nothing"))
    answer = virtualisation.probe_virtualisation()
    assert not answer.ok
    assert "neither vmx nor svm" in answer.detail
    assert "PVM" in answer.fix


def test_other_processors_have_no_such_flags(host, monkeypatch):
    (host / "cpuinfo").write_text("Features : fp asimd\n")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert virtualisation.probe_virtualisation().ok


@pytest.mark.skipif(os.geteuid() == 0, reason="root opens every device")
def test_a_device_that_is_closed_to_this_user(host):
    (host / "kvm").chmod(0)
    answer = virtualisation.probe_virtualisation()
    assert not answer.ok
    assert "group kvm" in answer.fix


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's engine becomes another user")
def test_a_device_that_only_root_opens(host):
    (host / "kvm").chmod(0o600)
    answer = virtualisation.probe_virtualisation()
    assert not answer.ok
    assert "open to root alone" in answer.detail


def test_a_mac_with_another_processor(monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    answer = virtualisation.probe_virtualisation()
    assert not answer.ok
    assert "Apple silicon" in answer.detail


@pytest.mark.bottle_requires("darwin")
def test_a_mac_says_whether_it_runs_guests():
    answer = virtualisation.probe_hypervisor_framework()
    assert answer.ok or answer.fix


def test_other_systems(monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Plan9")
    answer = virtualisation.probe_virtualisation()
    assert not answer.ok
    assert "Plan9" in answer.detail
