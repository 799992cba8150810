"""Names of the feature columns, as far as the source gives them."""

from mmlib.covarep.columns import FEATURES, numbered

COVAREP = FEATURES  # CMU's .csd files and the pickles made from them lack the names

# The five columns in CMU's processed MOSI files: issue 172 of CMU-MultimodalSDK, counted from 0.
COVAREP_5 = tuple(COVAREP[i] for i in (1, 3, 6, 25, 60))


def names(modality: str, d: int) -> tuple[str, ...]:
    """Names of the d feature columns of a modality; numbered if the source gives no names."""
    known = {("audio", 74): COVAREP, ("audio", 5): COVAREP_5}
    return known.get((modality, d)) or numbered(modality, d)


# The evidence channels of an iMotions FACET export, twenty action units and the head's pose.
FACET = (
    *("Joy", "Anger", "Surprise", "Fear", "Contempt", "Disgust", "Sadness", "Confusion"),
    *("Frustration", "Neutral", "Positive", "Negative"),
    *(f"AU{k}" for k in (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 18, 20, 23, 24, 25, 26, 28, 43)),
    *("Yaw", "Pitch", "Roll"),
)  # 35
