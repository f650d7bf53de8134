# SPDX-License-Identifier: Apache-2.0
"""get.py URL: prints the page."""
import sys
import urllib.request

try:
    with urllib.request.urlopen(sys.argv[1], timeout=10) as answer:
        print(answer.read().decode())
except OSError as error:
    sys.exit(str(error))
