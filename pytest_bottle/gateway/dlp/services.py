r"""The shapes of the keys of services that `detect-secrets` does not know.

Each is told by a prefix that its service gave it for that very purpose. The prefixes and lengths
are from the services' own documentation, and agree with the rules that other searchers have:

- https://docs.github.com/en/code-security/secret-scanning/introduction/supported-secret-scanning-patterns
- https://github.com/gitleaks/gitleaks/blob/master/config/gitleaks.toml
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """The shape of one kind of key."""

    rule: str
    anchor: bytes
    """What is in every key of the kind, and in little else."""
    pattern: re.Pattern[bytes]
    before: int = 0
    """Bytes that a key has before its anchor."""


def _key(rule: str, anchor: str, rest: str) -> ServiceKey:
    """Return the shape of keys that start with the anchor."""
    pattern = rf"(?<![A-Za-z0-9]){re.escape(anchor)}{rest}"
    return ServiceKey(rule, anchor.encode(), re.compile(pattern.encode()))


SERVICE_KEYS: Final = (
    _key("age-secret-key", "AGE-SECRET-KEY-1", r"[02-9AC-HJ-NP-Z]{58}"),
    _key("anthropic-key", "sk-ant-", r"[a-z]{2,12}\d{2}-[\w-]{60,140}"),
    _key("aws-bedrock-key", "ABSK", r"[A-Za-z0-9+/]{109,269}"),
    _key("cloudflare-origin-key", "v1.0-", r"[0-9a-f]{24}-[0-9a-f]{146}"),
    _key("databricks-token", "dapi", r"[0-9a-f]{32}(?![0-9a-z])"),
    _key("digitalocean-token", "dop_v1_", r"[0-9a-f]{64}"),
    _key("digitalocean-token", "doo_v1_", r"[0-9a-f]{64}"),
    _key("digitalocean-token", "dor_v1_", r"[0-9a-f]{64}"),
    _key("docker-hub-token", "dckr_pat_", r"[\w-]{27}"),
    _key("docker-hub-token", "dckr_oat_", r"[\w-]{32}"),
    _key("doppler-token", "dp.pt.", r"[A-Za-z0-9]{43}"),
    _key("fly-token", "fo1_", r"[\w-]{43}"),
    _key("fly-token", "fm2_", r"[A-Za-z0-9+/]{100,}"),
    _key("github-fine-grained-token", "github_pat_", r"\w{82}"),
    _key("google-api-key", "AIza", r"[\w-]{35}(?![\w-])"),
    _key("google-oauth-secret", "GOCSPX-", r"[\w-]{28}"),
    _key("google-oauth-token", "ya29.", r"[\w-]{60,}"),
    _key("grafana-token", "glsa_", r"[A-Za-z0-9]{32}_[0-9A-Fa-f]{8}"),
    _key("grafana-token", "glc_", r"[A-Za-z0-9+/]{32,400}"),
    _key("groq-key", "gsk_", r"[A-Za-z0-9]{52}"),
    _key("heroku-key", "HRKU-AA", r"[\w-]{58}"),
    _key("hugging-face-token", "hf_", r"[A-Za-z]{34}(?![A-Za-z])"),
    _key("linear-key", "lin_api_", r"[A-Za-z0-9]{40}"),
    _key("new-relic-key", "NRAK-", r"[A-Z0-9]{27}"),
    _key("notion-token", "ntn_", r"\d{11}[A-Za-z0-9]{35}"),
    _key("npm-token", "npm_", r"[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
    _key("onepassword-token", "ops_eyJ", r"[A-Za-z0-9+/]{250,}"),
    _key("openrouter-key", "sk-or-v1-", r"[0-9a-f]{64}"),
    _key("perplexity-key", "pplx-", r"[A-Za-z0-9]{48}"),
    _key("planetscale-token", "pscale_tkn_", r"[\w=.-]{32,64}"),
    _key("planetscale-password", "pscale_pw_", r"[\w=.-]{32,64}"),
    _key("postman-key", "PMAK-", r"[0-9a-f]{24}-[0-9a-f]{34}"),
    _key("pulumi-token", "pul-", r"[0-9a-f]{40}(?![0-9a-f])"),
    _key("replicate-token", "r8_", r"[A-Za-z0-9]{37}(?![A-Za-z0-9])"),
    _key("rubygems-key", "rubygems_", r"[0-9a-f]{48}"),
    _key("sentry-token", "sntrys_eyJ", r"[A-Za-z0-9+/=]{40,}_[A-Za-z0-9+/]{43}"),
    _key("sentry-token", "sntryu_", r"[0-9a-f]{64}"),
    _key("shopify-token", "shpat_", r"[0-9A-Fa-f]{32}"),
    _key("shopify-token", "shpca_", r"[0-9A-Fa-f]{32}"),
    _key("shopify-token", "shppa_", r"[0-9A-Fa-f]{32}"),
    _key("shopify-secret", "shpss_", r"[0-9A-Fa-f]{32}"),
    _key("slack-app-token", "xapp-", r"\d-[A-Z0-9]+-\d+-[0-9a-z]+"),
    _key("stripe-webhook-secret", "whsec_", r"[A-Za-z0-9+/]{32,}"),
    _key("supabase-token", "sbp_", r"[0-9a-f]{40}"),
    _key("tailscale-key", "tskey-", r"[a-z]+-[A-Za-z0-9]{10,}-[A-Za-z0-9]{20,}"),
    _key("vault-token", "hvs.", r"[\w-]{90,120}"),
    _key("vault-token", "hvb.", r"[\w-]{138,300}"),
    _key("xai-key", "xai-", r"[A-Za-z0-9]{80}"),
    ServiceKey(
        "azure-client-secret",
        b"Q~",
        re.compile(rb"(?<![\w.~-])[\w.~-]{3}\dQ~[\w.~-]{31,34}(?![\w.~-])", re.ASCII),
        before=4,
    ),
    ServiceKey(
        "openai-key",
        b"T3BlbkFJ",
        re.compile(rb"(?<![\w-])sk-(?:[a-z]{4,8}-)?[\w-]{20,80}T3BlbkFJ[\w-]{20,80}", re.ASCII),
        before=92,
    ),
    ServiceKey(
        "terraform-token",
        b".atlasv1.",
        re.compile(rb"(?<![A-Za-z0-9])[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{60,70}"),
        before=14,
    ),
)
