"""Who holds what. The theory and every rule are in `ownership`.

ownership  the rules                      claim    what a claim is, and in words
table      claims as data, with inverses  overlap  which ranges overlap one
desk       take, release, renew, break    waiting  the fair queue and its wait-for graph
"""
