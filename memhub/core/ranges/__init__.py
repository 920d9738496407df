"""The range table: what it holds, what may be done to it, and doing it.

table     slots, registers, packed images     owned    operations, whole or not at all
planner   what a SET would change, or why not  commits  a SET as a value, and one in flight
undo      what to put back on close
"""
