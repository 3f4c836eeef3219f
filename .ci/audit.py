"""Hold pinned packages against known weaknesses: `audit.py PIP-AUDIT REQUIREMENTS`.

Exit 1 where one is found. Where nothing could be asked, that is said, and is no failure: a build away from the network
passes. pip-audit itself calls packages that it found nothing on "no known vulnerabilities", and fails alike on both.
"""

from __future__ import annotations

import json
import subprocess
import sys

SECONDS = 300


def main(tool: str, requirements: str) -> int:
    """Ask, print what was found in a line a weakness, and give the exit status."""
    command = [tool, "--requirement", requirements, "--no-deps", "--disable-pip", "--format", "json"]
    try:
        asked = subprocess.run(
            [*command, "--progress-spinner", "off"], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        packages = json.loads(asked.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return _not_done(f"no answer within {SECONDS} s")
    except (ValueError, KeyError):
        return _not_done((asked.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1][:200])
    weak = [(package, weakness) for package in packages for weakness in package.get("vulns", ())]
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    for package, weakness in weak:
        mend = f"; mended in {', '.join(weakness['fix_versions'])}" if weakness["fix_versions"] else ""
        print(f"audit: {package['name']} {package['version']} has {weakness['id']}{mend}")
    if len(unknown) == len(packages):
        return _not_done(f"nothing is known here of any of the {len(packages)} packages")
    if unknown:
        print(f"audit: nothing is known of {len(unknown)} packages: {', '.join(unknown)}")
    print(f"audit: {len(packages) - len(unknown)} packages asked about, {len(weak)} known weaknesses")
    return 1 if weak else 0


def _not_done(why: str) -> int:
    print(f"audit: NOT DONE, the advisories could not be asked: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
