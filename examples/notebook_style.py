# ruff: noqa: B018, D100
# %% [markdown]
# # A scan in a notebook
#
# Run the cells one by one in an editor that knows `# %%`, or the whole file with `python`.
# Nothing is downloaded: the images and the network are the demo's, made smaller.

# %%
import tempfile
from pathlib import Path

import pandas as pd

import shortcut_finder as sf
from shortcut_finder.demo.dataset import make_dataset
from shortcut_finder.demo.network import INPUT_SIZE, train

PER_CLASS = 60
EPOCHS = 20
folder = Path(tempfile.mkdtemp(prefix="shortcut-finder-"))

# %% [markdown]
# ## A labelled dataset and a trained network
# `planted` is the truth, which a real dataset does not come with.

# %%
planted = make_dataset(folder, per_class=PER_CLASS)
network = train(folder, epochs=EPOCHS)
planted.groupby(["label", "planted"]).size()

# %% [markdown]
# ## The scan
# The network is passed as it is. The dataset may be a folder, a table or a torch `Dataset`; here it
# is a table, whose columns after `image` and `label` are metadata.

# %%
files = sorted((folder / "images").glob("*/*.jpg"))
dataset = pd.DataFrame(
    {
        "image": [str(file) for file in files],
        "label": [file.parent.name for file in files],
        "bytes": [file.stat().st_size for file in files],
    }
)
settings = sf.Settings(input_size=INPUT_SIZE, workers=0)
run = sf.scan(dataset, network, out=folder / "run", settings=settings)

# %% [markdown]
# ## What it found
# Every table of the run is a DataFrame.

# %%
run.findings[["finding", "label", "kind", "region", "share", "severity", "sentence"]]

# %%
run.offenders.head(10)

# %% [markdown]
# How many of the images that carry a mark are listed, class by class.

# %%
listed = {Path(image).name for image in run.offenders["image"]}
planted.assign(listed=[Path(image).name in listed for image in planted["image"]]).groupby("label")[
    "listed"
].mean()

# %% [markdown]
# ## One image
# In a notebook the last line shows the picture; here it is written to a file.

# %%
explanation = sf.explain(
    network,
    folder / "images" / planted["image"].iloc[0],
    classes=sorted(path.name for path in (folder / "images").iterdir()),
    settings=settings,
)
(folder / "explanation.png").write_bytes(explanation.png())
explanation

# %%
print(f"look at {run.folder / 'report.html'} and {folder / 'explanation.png'}")
