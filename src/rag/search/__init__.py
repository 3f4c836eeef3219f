"""Which passages?"""
