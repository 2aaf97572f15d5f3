"""The Vagrant project one stands in: its machines' domains, whether it is to be believed, and its logins."""
