"""Data in memory: TensorData, the LightningDataModule to derive from, and what one hands it."""

from runlab.data.content import Content as Content
from runlab.data.content import digest as digest
from runlab.data.content import stamps as stamps
from runlab.data.sizes import check_at_least as check_at_least
from runlab.data.tensor_data import TensorData as TensorData
