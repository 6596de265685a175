"""The data set ``preferences``: prompts and preferences in the layouts that people's data sets have; see `layouts`.

Leaves out: labels of TRL's stepwise form, because they compare no two responses; messages that are not text. A row whose
answers or labels stand in columns of no known layout is read for its prompt, and counted.
"""

from __future__ import annotations

from .files import Row
from .layouts import LAYOUTS
from .layouts.record import Record
from .options import PreferencesOptions
from .rows import Parsed, RowsDataset
from .source import FileSource, HubSource, HubSplits, Source


def preferences_dataset(options: PreferencesOptions) -> RowsDataset:
    """Build the data set that the options name. Raises UserError for a local file that is not there."""
    source: Source
    if options.path is not None:
        source = FileSource(options.path)
    else:
        part = {"name": options.subset, "revision": options.revision}
        source = HubSource(str(options.name), (part,), HubSplits(options.split_train, options.split_test))

    def parse(row: Row) -> Parsed:
        record = Record(row, options)
        return next(layout.read(record) for layout in LAYOUTS if layout.fits(record))

    return RowsDataset(source, parse, options.held_out, options.bad_rows)
