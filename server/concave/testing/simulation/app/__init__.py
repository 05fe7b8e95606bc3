"""The app that simulations run. `../model.py` says, independently, what each of its functions does."""
