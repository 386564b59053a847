"""EAS, the Exoplanet Analysis System of PLATO: task chains, job queues, workers, reports.

The domain core. It knows nothing of Prefect and nothing of pandas: the packages ``flows``,
``blocks`` and ``reports`` stand on top of it.
"""

__version__ = "0.1.0"
