"""Who people are. Sign-in, sessions and preferences join `users` here."""
