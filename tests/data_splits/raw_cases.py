"""The untouched files of ../shared/data/raw: what goes with what."""

from dataclasses import dataclass
from pathlib import Path

RAW = Path(__file__).resolve().parents[3] / "shared" / "data" / "raw"


@dataclass(frozen=True)
class RawCase:
    name: str
    image: str
    labels: tuple[str, ...]
    modality: str = ""


def _pair(name: str, image: str, labels: str, modality: str) -> RawCase:
    return RawCase(name, image, (labels,), modality)


STS = "sts_nifti/STS_002/"

NIFTI = (
    *(
        _pair(f"hippocampus_{n}", f"msd_hippocampus/images/hippocampus_{n}.nii.gz",
              f"msd_hippocampus/labels/hippocampus_{n}.nii.gz", "MR")
        for n in ("001", "026", "049")
    ),
    *(
        _pair(f"sts_{m}", f"{STS}{m}_image.nii.gz", f"{STS}{m}_mask.nii.gz", m[:3].strip("_T"))
        for m in ("MR_T1", "PET")
    ),
    _pair("sts_CT", f"{STS}CT_image.nii.gz", f"{STS}CT_mask.nii.gz", "CT"),
    _pair("totalseg_ct", "totalseg_nifti/example_ct.nii.gz",
          "totalseg_nifti/example_seg_fast_force_split.nii.gz", "CT"),
    _pair("totalseg_mr", "totalseg_nifti/example_mr_sm.nii.gz",
          "totalseg_nifti/example_seg_mr.nii.gz", "MR"),
    _pair("sct", "sct_nifti/t2.nii.gz", "sct_nifti/t2_seg-manual.nii.gz", "MR"),
    *(
        _pair(f"lidc_{n}", f"lidc_voi/image/LIDC-IDRI-{n}.nii.gz",
              f"lidc_voi/nodule_mask/LIDC-IDRI-{n}.nii.gz", "CT")
        for n in ("0800_R_2", "0942_R_1")
    ),
)  # fmt: skip

NRRD = (
    _pair("brain2", "pyradiomics_nrrd/brain2_image.nrrd", "pyradiomics_nrrd/brain2_label.nrrd",
          "MR"),
    _pair("cip", "cip_nrrd/ct-64.nrrd", "cip_nrrd/lm-64.nrrd", "CT"),
)  # fmt: skip

ELASTIX = RawCase("elastix", "elastix_3DCT_lung_baseline_small.mha", (), "CT")

SEG_SERIES = "dcmqi_ct_seg/ct-3slice"

STS_DICOM = tuple(
    RawCase(m, f"sts_dicom/STS_002/{m}/image", (f"sts_dicom/STS_002/{m}/mask/RS.dcm",))
    for m in ("CT", "MR_T1", "PET")
)

SUNNYBROOK = RawCase("SCD0000101", "sunnybrook_dicom/SCD0000101", ("sunnybrook_dicom/contours",))

OPENKBP = RawCase("pt_209", "openkbp_csv/pt_209", ("openkbp_csv/pt_209",))
