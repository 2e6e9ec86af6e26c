"""Standardised uptake values, body weight, from a PET data set's tags.

After the vendor-neutral pseudo-code of the QIBA FDG-PET profile: SUVbw = activity concentration x
weight / dose, the dose decayed from injection to the time that the image is corrected to.
"""

from datetime import datetime, timedelta

from pydicom.dataset import Dataset
from pydicom.valuerep import DT, TM


def suv_factor(dataset: Dataset) -> tuple[float | None, str]:
    """What a value after rescaling is multiplied by to be SUV in g/mL, or None with the reason."""
    if str(dataset.get("Modality", "")) != "PT":
        return None, "the file is no PET series"
    units = str(dataset.get("Units", ""))
    if units == "GML":
        return 1.0, ""
    if units == "CNTS":
        factor = dataset.get((0x7053, 0x1000))
        if factor is not None and float(factor.value) > 0:
            return float(factor.value), ""  # Philips, SUV scale factor
        return None, "units are counts, without Philips's scale factor (7053,1000)"
    if units != "BQML":
        return None, f"units are {units or 'not stated'}, expected BQML, GML or CNTS"
    corrections = [str(c) for c in dataset.get("CorrectedImage", [])]
    if "ATTN" not in corrections or "DECY" not in corrections:
        return None, f"not corrected for attenuation and decay: {', '.join(corrections) or 'none'}"
    return _from_activity(dataset)


def _from_activity(dataset: Dataset) -> tuple[float | None, str]:
    sequence = dataset.get("RadiopharmaceuticalInformationSequence") or [Dataset()]
    injected = sequence[0]
    weight_g = float(dataset.get("PatientWeight") or 0) * 1000
    dose_bq = float(injected.get("RadionuclideTotalDose") or 0)
    half_life_s = float(injected.get("RadionuclideHalfLife") or 0)
    for value, name in (
        (weight_g, "PatientWeight"),
        (dose_bq, "RadionuclideTotalDose"),
        (half_life_s, "RadionuclideHalfLife"),
    ):
        if value <= 0:
            return None, f"{name} is missing"
    correction = str(dataset.get("DecayCorrection", ""))
    if correction == "ADMIN":
        return weight_g / dose_bq, ""
    if correction != "START":
        return None, f"DecayCorrection is {correction or 'not stated'}, expected START or ADMIN"
    scanned, injection = _scan_time(dataset), _injection_time(dataset, injected)
    if scanned is None or injection is None:
        return None, "time of injection or of the scan is missing"
    waited_s = (scanned - injection).total_seconds()
    if not 0 <= waited_s <= 24 * 3600:
        return None, f"injected {waited_s:.0f} s before the scan, expected 0 to 24 hours"
    return float(weight_g / (dose_bq * 2 ** (-waited_s / half_life_s))), ""


def _scan_time(dataset: Dataset) -> datetime | None:
    """Start of the series; of the acquisition where the series was written later."""
    series = _moment(dataset.get("SeriesDate"), dataset.get("SeriesTime"))
    acquired = _moment(dataset.get("AcquisitionDate"), dataset.get("AcquisitionTime"))
    if series is not None and acquired is not None and series > acquired:
        return acquired
    return series or acquired


def _injection_time(dataset: Dataset, injected: Dataset) -> datetime | None:
    """Date and time of injection; of a time alone, the last one before the scan."""
    stated = injected.get("RadiopharmaceuticalStartDateTime")
    if stated:
        return _naive(DT(str(stated)))
    scanned = _scan_time(dataset)
    if scanned is None:
        return None
    moment = _moment(scanned.strftime("%Y%m%d"), injected.get("RadiopharmaceuticalStartTime"))
    if moment is not None and moment > scanned:
        moment -= timedelta(days=1)
    return moment


def _moment(date: object, time: object) -> datetime | None:
    if not date or not time:
        return None
    clock = TM(str(time))
    if clock is None:
        return None
    day = datetime.strptime(str(date), "%Y%m%d")
    return day.replace(
        hour=clock.hour, minute=clock.minute, second=clock.second, microsecond=clock.microsecond
    )


def _naive(value: datetime | None) -> datetime | None:
    return None if value is None else value.replace(tzinfo=None)
