"""Objects of a bucket that are answered: by their notifications, in parts where they are long."""
