"""Asynchronous training of one set of parameters by several processes (Hogwild); knows no speech.

Niu et al. 2011, "Hogwild!: a lock-free approach to parallelizing stochastic gradient descent".
"""
