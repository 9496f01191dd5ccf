"""Certificates: what is refused at the start, and what happens when the files change under a server."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from relay.certificates import CertificateError, Certificates, Pair, self_signed


def made(folder: Path, name: str) -> Pair:
    folder.mkdir(exist_ok=True)
    return self_signed(folder, name)


def put(pair: Pair, to: Pair) -> None:
    """As a renewal does: new files in the place of the old ones."""
    for source, target in zip(pair, to, strict=True):
        fresh = target.with_suffix(".renewed")
        fresh.write_bytes(source.read_bytes())
        fresh.replace(target)


def shown(context: ssl.SSLContext, maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> str:
    """The name on the certificate that a new client gets."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.maximum_version = maximum
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = context.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server)
    waiting = [theirs, ours]
    while waiting:
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
    octets = theirs.getpeercert(binary_form=True)
    assert octets is not None
    [name] = x509.load_der_x509_certificate(octets).subject
    return str(name.value)


def settled(certificates: Certificates) -> None:
    """Changes count once they have stayed from one look to the next."""
    certificates.refresh()
    certificates.refresh()


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return made(tmp_path / "in use", "first.test")


def test_a_renewed_pair_is_taken_over_by_every_context(pair: Pair, tmp_path: Path) -> None:
    certificates = Certificates([pair])
    contexts = [certificates.context(), certificates.context(ssl.TLSVersion.TLSv1_3)]
    assert [shown(context) for context in contexts] == ["first.test"] * 2
    put(made(tmp_path / "renewed", "second.test"), pair)
    certificates.refresh()
    assert [shown(context) for context in contexts] == ["first.test"] * 2
    certificates.refresh()
    assert [shown(context) for context in contexts] == ["second.test"] * 2
    assert shown(certificates.context(ssl.TLSVersion.TLSv1_2)) == "second.test"
    assert not certificates.fault


def test_each_floor_has_one_context(pair: Pair) -> None:
    certificates = Certificates([pair])
    assert certificates.context() is certificates.context(ssl.TLSVersion.TLSv1_2)
    assert certificates.context(ssl.TLSVersion.TLSv1_3).minimum_version is ssl.TLSVersion.TLSv1_3
    assert certificates.context().minimum_version is ssl.TLSVersion.TLSv1_2


def test_old_ciphers_stay_with_the_context_of_old_versions(pair: Pair) -> None:
    certificates = Certificates([pair])
    before = certificates.context().get_ciphers()
    old = certificates.context(ssl.TLSVersion.TLSv1)
    assert old.minimum_version is ssl.TLSVersion.TLSv1
    assert "AES128-SHA" in {each["name"] for each in old.get_ciphers()}
    assert certificates.context().get_ciphers() == before


def test_a_pair_is_not_taken_half(pair: Pair, tmp_path: Path) -> None:
    """The certificate is replaced first, and its key a moment later."""
    certificates = Certificates([pair])
    renewed = made(tmp_path / "renewed", "second.test")
    pair[0].write_bytes(renewed[0].read_bytes())
    certificates.refresh()
    pair[1].write_bytes(renewed[1].read_bytes())
    certificates.refresh()
    certificates.refresh()
    assert (shown(certificates.context()), certificates.fault) == ("second.test", "")


@pytest.mark.parametrize("sort", ["of another certificate", "no key", "empty", "gone", "encrypted"])
def test_a_pair_that_cannot_be_used_leaves_the_one_before(sort: str, pair: Pair, tmp_path: Path) -> None:
    certificates = Certificates([pair])
    certificate, key = made(tmp_path / "renewed", "second.test")
    put((certificate, key), pair)
    spoil(pair[1], sort)
    settled(certificates)
    assert shown(certificates.context()) == "first.test"
    assert str(pair[1]) in certificates.fault
    assert certificates.fault.endswith("; the one before is still in use")
    put((certificate, key), pair)
    settled(certificates)
    assert (shown(certificates.context()), certificates.fault) == ("second.test", "")


def spoil(key: Path, sort: str) -> None:
    def pem(protection: serialization.KeySerializationEncryption) -> bytes:
        other = ec.generate_private_key(ec.SECP256R1())
        return other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)

    match sort:
        case "gone":
            key.unlink()
        case "of another certificate":
            key.write_bytes(pem(serialization.NoEncryption()))
        case "encrypted":
            key.write_bytes(pem(serialization.BestAvailableEncryption(b"a password")))
        case _:
            key.write_text("" if sort == "empty" else "this is no key\n")


@pytest.mark.parametrize("sort", ["of another certificate", "no key", "empty", "gone", "encrypted"])
def test_a_start_with_a_pair_that_cannot_be_used_says_which(sort: str, pair: Pair) -> None:
    spoil(pair[1], sort)
    with pytest.raises(CertificateError, match=f"certificate {pair[0]} with key {pair[1]}: ."):
        Certificates([pair])


def test_the_self_signed_pair_is_made_once_and_its_key_is_private(tmp_path: Path) -> None:
    pair = self_signed(tmp_path, "relay.test")
    before = [file.read_bytes() for file in pair]
    assert stat.S_IMODE(pair[1].stat().st_mode) == 0o600
    assert self_signed(tmp_path, "other.test") == pair
    assert [file.read_bytes() for file in pair] == before
    assert sorted(os.listdir(tmp_path)) == ["self-signed.crt", "self-signed.key"]


def test_new_clients_and_old_ones_get_the_sort_they_know(tmp_path: Path) -> None:
    pairs = [self_signed(tmp_path, "relay.test"), self_signed(tmp_path, "relay.test", is_rsa=True)]
    keys = [x509.load_pem_x509_certificate(pair[0].read_bytes()).public_key() for pair in pairs]
    assert isinstance(keys[0], ec.EllipticCurvePublicKey)
    assert isinstance(keys[1], rsa.RSAPublicKey)
    names = {each["name"] for each in Certificates(pairs).context(ssl.TLSVersion.TLSv1).get_ciphers()}
    assert {"AES128-SHA", "ECDHE-ECDSA-AES128-SHA"} <= names
