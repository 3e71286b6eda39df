"""Where an artifact's ops may run, and what they cost: predictions from the file alone.

In: a path. Out: frozen records of `report`. Nothing is run and nothing is measured: that an op is eligible for the
Neural Engine does not mean that it will run there, which only a device can say.
"""
