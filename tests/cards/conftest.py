from hypothesis import settings


# The same examples in every run, without a time limit.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
