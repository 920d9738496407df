"""Physical and kernel memory, and the transfers between them and a client.

physical  RAM, ROM, open bus, device windows   kmem      kernel virtual addresses
physmap   the memory map as segments           kvm       symbols and reads by name
backing   the store behind the RAM             transfer  what a read or write moves
files     what may be handed out               pages     what its files hold
pieces    a transfer cut at borders            steps     a transfer that devices answer
"""
