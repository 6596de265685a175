"""The two APIs as their SDKs speak them, each with its batches: requests to what is asked, answers to bodies."""
