"""Slicer's CT samples, offered under the module's name so that a newcomer finds an image that fits."""

from __future__ import annotations

from pathlib import Path

import slicer

# Name, file, SHA-256: the data set CT-chest of Slicer's own Sample Data module.
SAMPLES = (
    ("CTChest", "CT-chest.nrrd", "4507b664690840abb6cb9af2d919377ffc4ef75b167cb6fd0f747befdb12e38e"),
    ("CTACardio", "CTA-cardio.nrrd", "3b0d4eb1a7d8ebb0c5a89cc0504640f76a030b4e869e33ff34c564c3d3b88ad2"),
)


def registerSampleData(category: str, icon: Path) -> None:
    """Add the samples to the Sample Data module; they are downloaded when somebody asks for them."""
    import SampleData

    for name, fileName, checksum in SAMPLES:
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category=category,
            sampleName=name,
            thumbnailFileName=str(icon),
            uris=f"{slicer.util.TESTING_DATA_URL}SHA256/{checksum}",
            fileNames=fileName,
            checksums=f"SHA256:{checksum}",
            nodeNames=name,
        )
