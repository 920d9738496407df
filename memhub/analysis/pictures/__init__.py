"""Pictures of audit logs; needs the extra `report`.

figures  all pictures        page, report  one page with them    plot  one view as a file
history  what is asked of the log          shares  what is drawn, and what is summed up
timeline, memory_map, occupancy_chart, contention_chart, latency_chart  one view each
figure   a picture and its marks           records  the records behind marks
layers, timeline_layers, time_axis, palette, words, limits  what they share
"""
