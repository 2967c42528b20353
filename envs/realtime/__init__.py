"""The simulated arm in real time, behind the driver interface of real arms."""
