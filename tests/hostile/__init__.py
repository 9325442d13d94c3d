"""Whatever anybody hands to Lamina: vectors or a clear error, never a crash, a hang, or a neighbour's vector."""
