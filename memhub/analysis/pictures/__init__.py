"""Pictures of audit logs; needs the extra `report`.

history      what is asked of a log              shares      what is drawn, what is summed up
machines     machines, and slots with rows       moments     changes that can be chosen
timeline, memory_map, occupancy_chart, contention_chart, latency_chart: one view each
type_runs    effective types over time
timeline_layers, map_layers, layers              how marks are drawn
figure       a picture and its marks             figures     all of them
records      the records behind marks            report      what a page holds
page         the page, with page.js, page.css    library     the script that draws in it
plot         a view as a file                    limits, palette, time_axis, words: small parts
"""
