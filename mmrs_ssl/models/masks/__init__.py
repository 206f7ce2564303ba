"""Draw masks, batched, on the device that uses them; True is where the student must not see."""
