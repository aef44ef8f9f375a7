"""Workers by lag: signals read the world, `decision` is arithmetic over them, what applies it stands apart."""
