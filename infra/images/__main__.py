"""``python -m infra.images``: build the images."""

import sys

from infra.images.build import main

sys.exit(main())
