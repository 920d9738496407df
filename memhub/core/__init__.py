"""The machine that decides: synchronous and pure.

Nothing in this folder reads a clock or a random source, logs, does I/O or awaits. Time, ids and
randomness are handed in; state changes are all or nothing.

machine      one machine as a value, and the only code that changes it
requests     what can be asked             replies    what is answered
events       what can become true
deciding     what each request comes to: looks at a machine and changes nothing
holding      claims, waits and commits as data
ranges       the range table               effective  memory types
memory       RAM, devices, kernel memory   caches     memory that is not coherent
health       sick registers                faults     fault rules
drivers      what an architecture implements, and the one place where it is asked
"""
