"""Texts that GDAL takes for rasters."""

from tests.rasters.rasters import dataset

WMS = '<GDAL_WMS><Service name="TMS"><ServerUrl>{address}/${{z}}</ServerUrl></Service><DataWindow><SizeX>32</SizeX>'
WMS += '<SizeY>32</SizeY></DataWindow><BandsCount>1</BandsCount></GDAL_WMS>'


def vrt(*sources, kind='', band='', head='', relative=1, element='SimpleSource', extra='', properties=False):
    """The text of a VRT of 32 x 32 pixels with a band for every source."""
    known = '<SourceProperties RasterXSize="32" RasterYSize="32" DataType="Byte" BlockXSize="32" BlockYSize="32"/>'
    bands = ''.join(
        f'<VRTRasterBand dataType="Byte" band="{number}" {band}>{extra}<{element}>'
        f'<SourceFilename relativeToVRT="{relative}">{source}</SourceFilename><SourceBand>1</SourceBand>'
        f'{known if properties else ""}</{element}></VRTRasterBand>'
        for number, source in enumerate(sources, 1)
    )
    return f'{head}<VRTDataset rasterXSize="32" rasterYSize="32" {kind}>{bands}</VRTDataset>'


def read(path, **options):
    data = dataset(path, window=32, max_bad=0, **options)
    return data[0]['img']
