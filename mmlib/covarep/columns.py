"""Names of the 74 features, in COVAREP's order."""


def numbered(prefix: str, n: int) -> tuple[str, ...]:
    """Names of n columns: prefix_0, prefix_1 ..."""
    return tuple(f"{prefix}_{i}" for i in range(n))


GROUPS = {  # stage -> the features that it computes
    "pitch": ("F0", "VUV"),
    "glottal": ("NAQ", "QOQ", "H1H2", "PSP"),
    "mdq": ("MDQ",),
    "peak_slope": ("peakSlope",),
    "rd": ("Rd", "Rd_conf"),
    "creak": ("creak",),
    "mcep": numbered("MCEP", 25),
    "hmpd": numbered("HMPDM", 25) + numbered("HMPDD", 13),
}
FEATURES = tuple(name for names in GROUPS.values() for name in names)
