"""A dataset as pictures of two dimensions, one for each layer."""

from lamina.apps.map.chart import map_chart
from lamina.apps.map.page import map_page
from lamina.apps.map.pictures import Map, make_map

__all__ = ["Map", "make_map", "map_chart", "map_page"]
