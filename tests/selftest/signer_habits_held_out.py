from tests.selftest.signer_habits import Habit

HELD_OUT: dict[str, Habit] = {}
