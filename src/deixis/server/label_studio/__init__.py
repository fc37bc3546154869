"""A back end for Label Studio, by the contract of its ML back ends."""
