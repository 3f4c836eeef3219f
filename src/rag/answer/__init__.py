"""What do the passages say?"""
